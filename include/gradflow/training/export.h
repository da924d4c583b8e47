#pragma once

#include <map>
#include <string>
#include <vector>

#include "gradflow/network/dense_network.h"
#include "gradflow/network/layered_network.h"

namespace gradflow {

/// A trained network as one that takes features and gives responses in their own units:
///
///     g(x) = output_center + output_scale (f((x - input_center) / input_scale) + intercept)
///
/// in parameterisation `standard`, with biases in every layer. Centers and scales of the inputs are d, scales
/// > 0. Rounding apart it is the same function.
DenseNetwork in_raw_units(const DenseNetwork& network, const Vector& input_center, const Vector& input_scale,
                          double output_center, double output_scale, double intercept);

/// The same of a network of layers, with an intercept for each of its K outputs. Where its first layer is not
/// dense and there is something to standardise, a layer that does it comes before it, z = (x - input_center)
/// / input_scale: conv1d:C:1 or conv2d:C:1, or dense:D on features. Throws InputError where the centers or
/// scales differ within a channel of an array.
LayeredNetwork in_raw_units(const LayeredNetwork& network, const Vector& input_center,
                            const Vector& input_scale, double output_center, double output_scale,
                            const Vector& intercept);

/// A safetensors file that load_state_dict() of
///
///     torch.nn.Sequential(Linear(d, w1), ACTIVATION(), Linear(w1, w2), ..., Linear(w, 1))
///
/// takes: tensors 0.weight, 0.bias, 2.weight, ..., float64, of a network of parameterisation `standard`
/// (InputError otherwise). A linear network has 0.weight only. DenseNetwork::from_file() reads it as well.
void write_state_dict(const std::string& path, const DenseNetwork& network,
                      const std::map<std::string, std::string>& metadata);
/// The same of a network of layers, LayeredNetwork::state_dict(): modules as its layers' names say.
void write_state_dict(const std::string& path, const LayeredNetwork& network,
                      const std::map<std::string, std::string>& metadata);

/// The same network as an ONNX file (IR version 8, operators of opset 13, float32): input "features", rows x
/// d, output "response", rows x 1. Layers are Gemm; gelu is x (1 + Erf(x / sqrt 2)) / 2. The file is
/// protobuf, written by hand: messages ModelProto, GraphProto, NodeProto, TensorProto of onnx.proto3. Source:
/// github.com/onnx/onnx, onnx/onnx.proto3.
void write_onnx(const std::string& path, const DenseNetwork& network,
                const std::map<std::string, std::string>& metadata);
/// The same of a network of layers: input "features", rows x the input's shape; the output, rows x K, has the
/// name given. Layer norm is ReduceMean, Sub, Mul, Add, Sqrt and Div, over axis 1.
void write_onnx(const std::string& path, const LayeredNetwork& network,
                const std::map<std::string, std::string>& metadata, const std::string& output = "response");

}  // namespace gradflow
