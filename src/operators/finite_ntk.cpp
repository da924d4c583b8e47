#include "gradflow/operators/finite_ntk.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"
#include "operators/layer_gradients.h"

namespace gradflow {
namespace {

/// Columns of Theta computed together: narrow enough that a panel's products stay in cache, wide enough for
/// BLAS.
constexpr Index panel_columns = 256;
constexpr Index columns_per_task = 8;
constexpr Index mirror_tile = 64;
constexpr Index swept_together = 16;

/// One term of the sum over layers, as factors of Gram matrices: (left left') o (right right' + constant), or
/// left left' when `right` is empty. Rows are examples.
struct Term {
  Matrix left, right;
  double constant = 0.0;
};

std::vector<Term> terms_of(const Network& network, Sweep sweep) {
  std::vector<Term> terms;
  const double bias = network.bias_scale();
  for (Index l = network.layers(); l-- > 0;) {
    auto& [A, D] = sweep.layers[static_cast<std::size_t>(l)];
    const double scale = network.weight_scale(l);
    Term term;
    if (network.positions(l) > 1) {
      term.left =
          layer_gradients(sweep.layers[static_cast<std::size_t>(l)], sweep.output.size(), scale, bias);
      A.resize(0, 0);
      D.resize(0, 0);
    } else if (D.cols() == 1) {
      // (d d') o (ws^2 A A' + bs^2) = B B' with B = diag(d) [ws A, bs]
      term.left.resize(A.rows(), A.cols() + (bias != 0.0 ? 1 : 0));
      for (Index j = 0; j < A.cols(); ++j) term.left.col(j) = scale * D.col(0).cwiseProduct(A.col(j));
      if (bias != 0.0) term.left.rightCols(1) = bias * D;
    } else {
      term.left = std::move(D);
      if (scale != 1.0) term.left *= scale;
      term.right = std::move(A);
      term.constant = bias * bias / (scale * scale);
    }
    terms.push_back(std::move(term));
  }
  return terms;
}

/// Terms and outputs of all examples. What convolutions leave behind is many times their gradients, so it is
/// computed for few examples at a time.
struct Examples {
  std::vector<Term> terms;
  Vector output;
};

bool is_convolutional(const Network& network) {
  for (Index l = 0; l < network.layers(); ++l)
    if (network.positions(l) > 1) return true;
  return false;
}

Examples sweep_examples(const Network& network, ConstBlock X) {
  if (!is_convolutional(network)) {
    Sweep sweep = network.sweep(X);
    Vector output = sweep.output;
    return {terms_of(network, std::move(sweep)), std::move(output)};
  }
  const Index n = X.rows();
  Examples all{terms_of(network, network.sweep(X.topRows(0))), Vector(n)};
  for (Term& term : all.terms) {
    term.left.resize(n, term.left.cols());
    term.right.resize(term.right.cols() > 0 ? n : 0, term.right.cols());
  }
  const SerialBlas serial;
  parallel_for(n, swept_together, [&](Index begin, Index end) {
    Sweep sweep = network.sweep(X.middleRows(begin, end - begin));
    all.output.segment(begin, end - begin) = sweep.output;
    const std::vector<Term> some = terms_of(network, std::move(sweep));
    for (std::size_t k = 0; k < some.size(); ++k) {
      all.terms[k].left.middleRows(begin, end - begin) = some[k].left;
      if (some[k].right.size() > 0) all.terms[k].right.middleRows(begin, end - begin) = some[k].right;
    }
  });
  return all;
}

/// Storage of a panel's products, reused for every panel.
struct PanelWorkspace {
  Matrix sum, left, right;
  PanelWorkspace(Index rows, Index columns) : sum(rows, columns), left(rows, columns), right(rows, columns) {}
};

/// sum <- (first ? 0 : sum) + left o (right + constant)
void accumulate_product(Block sum, ConstBlock left, ConstBlock right, double constant, bool first) {
  parallel_for(sum.cols(), columns_per_task, [&](Index begin, Index end) {
    for (Index j = begin; j < end; ++j) {
      double* const s = sum.col(j).data();
      const double* const p = left.col(j).data();
      const double* const q = right.col(j).data();
      if (first)
        for (Index i = 0; i < sum.rows(); ++i) s[i] = p[i] * (q[i] + constant);
      else
        for (Index i = 0; i < sum.rows(); ++i) s[i] += p[i] * (q[i] + constant);
    }
  });
}

/// Rows [row, end) of column panel [column, column + width) of Theta into the workspace's `sum`.
void compute_panel(const std::vector<Term>& row_terms, const std::vector<Term>& column_terms, Index row,
                   Index column, Index width, PanelWorkspace& work) {
  const Index rows = row_terms.front().left.rows() - row;
  auto sum = work.sum.topLeftCorner(rows, width);
  auto left = work.left.topLeftCorner(rows, width);
  auto right = work.right.topLeftCorner(rows, width);
  for (std::size_t k = 0; k < row_terms.size(); ++k) {
    const Term& a = row_terms[k];
    const Term& b = column_terms[k];
    const bool folded = a.right.size() == 0;
    multiply(a.left.bottomRows(rows), Transpose::no, b.left.middleRows(column, width), Transpose::yes,
             folded ? Block(sum) : Block(left), 1.0, folded && k > 0 ? 1.0 : 0.0);
    if (folded) continue;
    multiply(a.right.bottomRows(rows), Transpose::no, b.right.middleRows(column, width), Transpose::yes,
             right);
    accumulate_product(sum, left, right, a.constant, k == 0);
  }
}

/// The lower part of columns [column, column + width) of `gram` from the panel's first rows, and its mirror
/// image; the panel's last rows into `cross`.
void store_panel(const Matrix& panel, Index column, Index width, Matrix& gram, Matrix& cross) {
  const Index rows = gram.rows() - column;
  parallel_for(width, columns_per_task, [&](Index begin, Index end) {
    for (Index j = begin; j < end; ++j) {
      gram.col(column + j).tail(rows - j) = panel.col(j).segment(j, rows - j);
      if (cross.rows() > 0) cross.col(column + j) = panel.col(j).segment(rows, cross.rows());
    }
  });
  parallel_for(rows, mirror_tile, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i)
      for (Index j = 0; j < std::min(width, i); ++j) gram(column + j, column + i) = panel(i, j);
  });
}

Matrix stack(ConstBlock top, ConstBlock bottom) {
  Matrix both(top.rows() + bottom.rows(), top.cols());
  both << top, bottom;
  return both;
}

}  // namespace

NtkPair ntk_gram_and_cross(const Network& network, ConstBlock X, ConstBlock X_new) {
  if (X_new.cols() != X.cols())
    throw InputError(
        fmt::format("the new features have {} columns: the first have {}", X_new.cols(), X.cols()));
  const Index n = X.rows(), n_new = X_new.rows();
  const auto [terms, output] = sweep_examples(network, n_new == 0 ? Matrix(X) : stack(X, X_new));
  NtkPair result;
  result.output = output.head(n);
  result.output_new = output.tail(n_new);
  result.gram.resize(n, n);
  result.cross.resize(n_new, n);
  PanelWorkspace work(n + n_new, std::min(n, panel_columns));
  for (Index column = 0; column < n; column += panel_columns) {
    const Index width = std::min(panel_columns, n - column);
    compute_panel(terms, terms, column, column, width, work);
    store_panel(work.sum, column, width, result.gram, result.cross);
  }
  return result;
}

Matrix ntk_gram(const Network& network, ConstBlock X) {
  return ntk_gram_and_cross(network, X, Matrix(0, X.cols())).gram;
}

Matrix ntk_cross(const Network& network, ConstBlock X_new, ConstBlock X) {
  const std::vector<Term> rows = sweep_examples(network, X_new).terms;
  const std::vector<Term> columns = sweep_examples(network, X).terms;
  Matrix cross(X_new.rows(), X.rows());
  PanelWorkspace work(X_new.rows(), std::min(X.rows(), panel_columns));
  for (Index column = 0; column < X.rows(); column += panel_columns) {
    const Index width = std::min(panel_columns, X.rows() - column);
    compute_panel(rows, columns, 0, column, width, work);
    cross.middleCols(column, width) = work.sum.leftCols(width);
  }
  return cross;
}

Vector ntk_diagonal(const Network& network, ConstBlock X) {
  Vector diagonal = Vector::Zero(X.rows());
  const auto add = [&](Index begin, Index end) {
    const Sweep sweep = network.sweep(X.middleRows(begin, end - begin));
    for (Index l = 0; l < network.layers(); ++l)
      diagonal.segment(begin, end - begin) +=
          squared_layer_gradients(sweep.layers[static_cast<std::size_t>(l)], end - begin,
                                  network.weight_scale(l), network.bias_scale());
  };
  if (is_convolutional(network)) {
    const SerialBlas serial;
    parallel_for(X.rows(), swept_together, add);
  } else {
    add(0, X.rows());
  }
  return diagonal;
}

}  // namespace gradflow
