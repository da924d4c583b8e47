#include "gradflow/network/architecture.h"

#include <gtest/gtest.h>

#include "gradflow/base/error.h"

namespace gradflow {
namespace {

TEST(Architecture, TextFormsAreInverse) {
  for (const char* text :
       {"relu:128x2", "relu:128", "relu:100-50-20", "leaky-relu@0.2:7x3", "erf:512x3,no-bias",
        "gelu:64-32,ntk", "tanh:8,no-bias,ntk,sw2=1.5,sb2=0", "linear", "linear,ntk,sb2=0.25"})
    EXPECT_EQ(to_string(parse_architecture(text)), text);
  EXPECT_EQ(to_string(parse_architecture("relu:64-64")), "relu:64x2");
  EXPECT_EQ(to_string(parse_architecture("relu:64x1")), "relu:64");
}

TEST(Architecture, FieldsAreReadFromText) {
  const Architecture a = parse_architecture("leaky-relu@0.2:100-50-20,no-bias,ntk,sw2=1.5");

  EXPECT_EQ(a.activation, (Activation{ActivationKind::leaky_relu, 0.2}));
  EXPECT_EQ(a.widths, (std::vector<Index>{100, 50, 20}));
  EXPECT_FALSE(a.bias);
  EXPECT_EQ(a.parameterization, Parameterization::ntk);
  EXPECT_EQ(a.sw2, 1.5);
  EXPECT_EQ(a.sb2, 0.1);
  EXPECT_EQ(parse_architecture("relu:128x2"), (Architecture{.activation = {}, .widths = {128, 128}}));
}

TEST(Architecture, NonsenseIsRefusedWithAnExample) {
  for (const char* text : {"",
                           "relu",
                           "relu:",
                           "relu:0",
                           "relu:-3",
                           "relu:12x",
                           "relu:x2",
                           "relu:12x0",
                           "relu:1.5",
                           "relu:12-",
                           "relu:-12",
                           "relu:12--4",
                           "relu:4x2x2",
                           "relu:99999999999999999999",
                           "relu:128x100000",
                           "swish:12",
                           "relu:12,",
                           "relu:12,bias",
                           "relu:12,sw2=1",
                           "relu:12,ntk,sw2=0",
                           "relu:12,ntk,sb2=-1",
                           "relu:12,ntk,sw2=nan",
                           "linear:4",
                           "128x2"})
    try {
      parse_architecture(text);
      ADD_FAILURE() << text;
    } catch (const InputError& error) {
      EXPECT_TRUE(std::string(error.what()).starts_with("network '" + std::string(text) + "': "))
          << error.what();
      EXPECT_TRUE(std::string(error.what()).ends_with("for example relu:128x2")) << error.what();
    }
}

}  // namespace
}  // namespace gradflow
