// SPDX-License-Identifier: Apache-2.0
#include <smx/smx.hpp>
