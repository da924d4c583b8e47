#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "gradflow/base/error.h"

namespace gradflow {

/// The message of the InputError that the call throws; a failed expectation and "" when it throws none.
inline std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const InputError& error) {
    return error.what();
  }
  ADD_FAILURE() << "no InputError was thrown";
  return "";
}

}  // namespace gradflow
