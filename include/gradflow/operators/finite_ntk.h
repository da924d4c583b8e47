#pragma once

#include "gradflow/network/dense_network.h"

namespace gradflow {

/// Neural tangent kernel of a network at its present parameters, by layer products:
///
///     Theta(X, X') = sum_l (D_l D_l'^T) o (ws_l^2 A_l A_l'^T + bs^2)  =  J J'^T,      o elementwise
///
/// A_l (n x w_in) and D_l (n x w_out) from Network::sweep, ws_l = weight_scale(l), bs = bias_scale(). A
/// layer with one output needs no second product: (d d'^T) o (..) is the Gram matrix of its scaled inputs.
/// Cost n n' sum_l (w_in + w_out) multiply-adds, half of it for a symmetric Gram matrix, instead of the n n'
/// P of contracting Jacobians; memory: the result, the sweeps, and a few panels of n x 256. A layer that acts
/// at several places of an array (a convolution) is contracted as its Jacobian: n n' P_l multiply-adds and n
/// P_l doubles. Source: theory, section 6. The training operator is H = Theta / n. Every function throws
/// InputError if the columns of X are not the network's inputs.

Matrix ntk_gram(const Network& network, ConstBlock X);                     ///< n x n, exactly symmetric
Matrix ntk_cross(const Network& network, ConstBlock X_new, ConstBlock X);  ///< n_new x n
/// Theta(x, x), n: sum_l |d_l|^2 (ws_l^2 |a_l|^2 + bs^2). Cost n times the number of units, after the sweep.
Vector ntk_diagonal(const Network& network, ConstBlock X);

struct NtkPair {
  Matrix gram;        ///< Theta(X, X), n x n
  Matrix cross;       ///< Theta(X_new, X), n_new x n
  Vector output;      ///< f(X), n
  Vector output_new;  ///< f(X_new), n_new
};
/// All four from one sweep over both sets.
NtkPair ntk_gram_and_cross(const Network& network, ConstBlock X, ConstBlock X_new);

}  // namespace gradflow
