# SPDX-License-Identifier: Apache-2.0
"""Benchmark results of smx: reading, comparing, plotting, and the driver that collects them."""
