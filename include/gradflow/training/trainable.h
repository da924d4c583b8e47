#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gradflow/network/dense_network.h"
#include "gradflow/network/layered_network.h"
#include "gradflow/operators/precision.h"
#include "gradflow/operators/training_operator.h"

namespace gradflow {

/// Where the entries of one layer, z = weight_scale W a + bias_scale b, lie in the flat vector theta.
struct LayerEntries {
  Index weights = 0;  ///< W (rows x columns, column by column) begins here
  Index rows = 0;     ///< w_out
  Index columns = 0;  ///< w_in
  Index biases = -1;  ///< b (rows) begins here; -1: none
  double weight_scale = 1.0;
  double bias_scale = 0.0;
};

/// Forward and reverse passes of a network over rows of features, with buffers that are kept from one to the
/// next. The network outlives it.
class NetworkPass {
 public:
  virtual ~NetworkPass() = default;
  /// f(X; theta) at the network's present theta, n x K. Valid until the next forward().
  virtual const Matrix& forward(ConstBlock X) = 0;
  /// J'u, P: the gradient of sum_ik U_ik f_k(x_i) in theta, at the rows of the last forward(). U is n x K.
  virtual Vector pull_back(ConstBlock U) = 0;
};

/// All that training needs of a network f(x; theta) with K outputs and P parameters, at its present theta.
/// The same theta gives the same bits for any number of threads, of every member.
class TrainableNetwork {
 public:
  virtual ~TrainableNetwork() = default;

  virtual Index inputs() const = 0;
  virtual Index outputs() const = 0;  ///< K
  virtual std::string description() const = 0;

  virtual const Vector& parameters() const = 0;  ///< theta, P
  /// Throws InputError on a wrong size.
  virtual void set_parameters(Vector theta) = 0;
  /// The weight matrices and biases among theta, first layer first; of two copies, those of both.
  virtual std::vector<LayerEntries> layers() const = 0;

  virtual std::unique_ptr<NetworkPass> make_pass() const = 0;
  Matrix output(ConstBlock X) const { return make_pass()->forward(X); }  ///< n x K
  virtual double pass_bytes(Index n) const = 0;                          ///< that a pass of n rows keeps

  virtual Precision precision() const { return Precision::float64; }  ///< of passes and products
  /// H = J J' / n of the rows through products with vectors alone (operators/jacobian_operator.h), of this
  /// theta from now on; sweeps below 2 GiB are kept. Throws InputError for K > 1.
  virtual std::unique_ptr<TrainingOperator> products(ConstBlock X) const = 0;
  /// The neural tangent kernel Theta = J J' of the rows, n x n; with K > 1 the mean over the outputs of each
  /// one's own. Cost as operators/finite_ntk.h.
  virtual Matrix kernel(ConstBlock X) const = 0;
  virtual Matrix kernel_cross(ConstBlock X_new, ConstBlock X) const = 0;  ///< Theta(X_new, X), m x n
  /// What each hidden layer makes of the rows, n x width each; of two copies, side by side.
  virtual std::vector<Matrix> features(ConstBlock X) const = 0;

  /// The same function as one dense network with K = 1: its own, or two copies side by side with zeros
  /// between. Throws InputError for K > 1 and for a network of layers.
  virtual DenseNetwork dense() const = 0;

  /// W of the last layer, f = A W' + b, K x p, scales included; A, n x p, is the last of features(), or the
  /// rows themselves where there is none.
  virtual Matrix last_weights() const;

  /// The same as one network of layers with K outputs. Throws InputError for two copies whose channels or
  /// features some layer would mix: layernorm, and a residual block right on the inputs.
  virtual LayeredNetwork layered() const = 0;
};

/// How the output at initialization is made zero, so that training starts from nothing:
///
///     none              it is not
///     copies            f = (f_1 - f_2) / sqrt(2), two copies that start equal and are both trained: the
///                       kernel is that of one, twice the parameters (Chizat, Oyallon and Bach 2019)
///     zero_last_layer   the last layer starts at zero: at first only that layer learns, and the kernel is
///                       that of its inputs
enum class Centring { none, copies, zero_last_layer };
std::string_view to_string(Centring centring);
Centring parse_centring(const std::string& text);  ///< none, copies or zero-last-layer

/// A dense network, trained in float32 or float64: passes are made in that precision over at most 16 groups
/// of rows, whose gradients are summed in order. theta itself is float64.
std::unique_ptr<TrainableNetwork> make_trainable(const DenseNetwork& network,
                                                 Centring centring = Centring::none,
                                                 Precision precision = Precision::float64);

/// The same with K outputs, drawn as DenseNetwork::initialise() draws.
std::unique_ptr<TrainableNetwork> make_trainable(const Architecture& architecture, Index inputs,
                                                 Index outputs, std::uint64_t seed,
                                                 Centring centring = Centring::none,
                                                 Precision precision = Precision::float64);

/// The same from given entries, the last W K x w. Throws InputError unless their shapes are the network's.
std::unique_ptr<TrainableNetwork> make_trainable(const Architecture& architecture,
                                                 const Parameters& parameters,
                                                 Centring centring = Centring::none,
                                                 Precision precision = Precision::float64);

/// A network of layers with its K outputs, in float64.
std::unique_ptr<TrainableNetwork> make_trainable(const LayeredNetwork& network,
                                                 Centring centring = Centring::none);

}  // namespace gradflow
