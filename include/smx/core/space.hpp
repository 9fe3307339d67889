// SPDX-License-Identifier: Apache-2.0
/// \file  Memory spaces. A view carries its space in its type, so that a host view handed to a device
///        backend does not compile.
#pragma once

namespace smx {

struct host_space {};    ///< dereferenceable by the CPU
struct device_space {};  ///< dereferenceable by one CUDA device
struct meta_space {};    ///< shapes only, the pointer is null: planning

}  // namespace smx
