// SPDX-License-Identifier: Apache-2.0
#include <smx/backend/cpu.hpp>
