#include "gradflow/model/held_out_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "gradflow/base/error.h"
#include "gradflow/data/array_file.h"
#include "gradflow/data/class_dataset.h"

namespace gradflow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const char* const trained_on = "age,city,y\n1,Rome,2\n2,Bonn,4\n3,Rome,6\n6,Bonn,9\n";

class HeldOut : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& text) const {
    const std::string path = (folder_ / name).string();
    std::ofstream(path) << text;
    return path;
  }
  static Recipe recipe_of(const std::string& table) {
    DatasetOptions options;
    options.target = "y";
    return make_dataset(parse_table(table, "data.csv"), options).recipe;
  }
  static std::string refusal(const std::string& file, const Recipe& recipe,
                             const std::vector<std::string>& classes = {}) {
    try {
      read_held_out(file, recipe, {}, classes);
    } catch (const InputError& error) {
      return error.what();
    }
    return "no error";
  }

  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("gradflow-held-out-" + std::to_string(::getpid()));
};

TEST_F(HeldOut, RowsOfTrainingHaveItsEncoding) {
  DatasetOptions options;
  options.target = "y";
  const Dataset data = make_dataset(parse_table(trained_on, "data.csv"), options);

  const HeldOutRows rows = read_held_out(write("new.csv", trained_on), data.recipe, {});

  EXPECT_EQ(rows.X, data.X);
  EXPECT_EQ(rows.y, data.y);
  EXPECT_EQ(rows.Z.cols(), 0);
  EXPECT_TRUE(rows.warnings.empty());
}

TEST_F(HeldOut, ARowWithoutAValueIsLeftOutAndSaid) {
  const Recipe recipe = recipe_of(trained_on);

  const HeldOutRows rows =
      read_held_out(write("new.csv", "y,age,city\nNA,1,Rome\n4,2,Bonn\n5,NA,Bonn\n"), recipe, {});

  ASSERT_EQ(rows.y.size(), 1);
  EXPECT_DOUBLE_EQ(recipe.target_center + recipe.target_scale * rows.y(0), 4.0);
  EXPECT_THAT(rows.warnings, ElementsAre(HasSubstr("1 row of "), HasSubstr("1 row of ")));
  EXPECT_THAT(rows.warnings.back(), HasSubstr("has no response and was left out."));
}

TEST_F(HeldOut, WhatDoesNotFitIsNamed) {
  const Recipe recipe = recipe_of(trained_on);

  EXPECT_THAT(refusal(write("a.csv", "age,city\n1,Rome\n"), recipe), HasSubstr("'y'"));
  EXPECT_THAT(refusal(write("b.csv", "age,city,y\n1,Rome,much\n"), recipe),
              HasSubstr("b.csv, line 2, column 'y'"));
  EXPECT_THAT(refusal(write("c.csv", "age,city,y\n1,Rome,NA\n"), recipe), HasSubstr("no row has all values"));
  EXPECT_THAT(refusal(write("d.csv", "city,y\nRome,1\n"), recipe), HasSubstr("column 'age' is absent"));
  EXPECT_THAT(refusal("no-such.csv", recipe), HasSubstr("no-such.csv"));
}

TEST_F(HeldOut, ClassesArePositionsAmongThoseOfTraining) {
  DatasetOptions options;
  options.target = "y";
  const ClassDataset data =
      make_class_dataset(parse_table("x,y\n1,1\n2,10\n3,1\n4,10\n5,2\n6,2\n", "data.csv"), options);
  ASSERT_THAT(data.classes, ElementsAre("1", "2", "10"));

  const HeldOutRows rows =
      read_held_out(write("new.csv", "x,y\n1,10\n2,1.0\n"), data.data.recipe, {}, data.classes);

  EXPECT_EQ(rows.y, Vector({{2.0, 0.0}}));
  EXPECT_THAT(refusal(write("e.csv", "x,y\n1,10\n2,7\n"), data.data.recipe, data.classes),
              HasSubstr("e.csv, line 3, column 'y': class '7' is not among those of training (1, 2, 10)"));
}

TEST_F(HeldOut, ArraysAreTwoFiles) {
  const Matrix X{{1.0, 2.0}, {3.0, 5.0}, {4.0, 1.0}};
  const Vector y{{1.0, 2.0, 4.0}};
  const Recipe recipe = make_dataset(X, y, {}, "X", "y").recipe;
  const std::string X_file = (folder_ / "X.npy").string(), y_file = (folder_ / "y.npy").string();
  write_npy(X_file, X);
  write_npy_vector(y_file, y);

  const HeldOutRows rows = read_held_out(X_file + "," + y_file, recipe, {});

  EXPECT_EQ(rows.X.rows(), 3);
  EXPECT_NEAR(rows.y.sum(), 0.0, 1e-12);
  write_npy_vector(y_file, y.head(2));
  EXPECT_THAT(refusal(X_file + "," + y_file, recipe), HasSubstr("3 rows and"));
}

TEST_F(HeldOut, ATableWithACommaInItsNameIsATable) {
  EXPECT_EQ(read_held_out(write("held, out.csv", trained_on), recipe_of(trained_on), {}).y.size(), 4);
}

}  // namespace
}  // namespace gradflow
