# SPDX-License-Identifier: Apache-2.0
"""What the page says of runs on a GPU alone: goals, kernels beside their recipes, launches."""

from . import goals, names, units
from .tables import esc, table


def is_gpu(backend):
    return backend.split("-")[0] == "cuda"


def has_gpu(results):
    return any(is_gpu(r["backend"]) for r in results.rows.values())


def operands(backend):
    """'bf16' of cuda-bf16 and cuda-recipe-bf16; f32 without one."""
    last = backend.split("-")[-1]
    return last if last in ("tf32", "bf16", "f16") else "f32"


def words(machine, backend):
    """How a lane is called: 'H200, recipes, bf16'."""
    device = (machine.get("gpu") or "GPU").removeprefix("NVIDIA ")
    precision = operands(backend)
    return ", ".join(
        [device] + ["recipes"] * ("recipe" in backend) + [precision] * (precision != "f32")
    )


def product_rate(results, backend):
    """The measured rate of a large cuBLAS product in the operands of a backend, GFLOP/s."""
    precision = operands(backend)
    name = "cuda" if precision == "f32" else f"cuda-{precision}"
    return max(
        (r["GFLOP/s"] for r in results.select(mixer="gemm", variant="cublas", backend=name) if r["GFLOP/s"]),
        default=None,
    )


def copy_rate(results):
    """Bytes read plus bytes written each second by a copy on the device, GB/s."""
    return max(
        (r["bytes"] / r["ms"] * 1e-6 for r in results.select(mixer="copy", backend="cuda") if r["bytes"]),
        default=None,
    )


def goals_section(results):
    if not has_gpu(results):
        return ""
    rows = [g.cells() for g in goals.goals(results)]
    return (
        '<h2>Goals of the CUDA backend</h2><p class="soft">As measured in this run.</p><div class="card">'
        f'{table(goals.HEAD, rows, left=5)}</div>'
    )


def kernels_section(results):
    """Each row with tuned kernels beside its recipe."""
    if not has_gpu(results):
        return ""
    rows = []
    for r in sorted(results.rows.values(), key=lambda r: (r["mixer"], r["variant"], r["pass"], r["backend"], r["L"])):
        if not is_gpu(r["backend"]) or "recipe" in r["backend"]:
            continue
        recipe_name = r["name"].replace("/cuda", "/cuda-recipe", 1)
        recipe = results.rows.get(recipe_name)
        if not recipe:
            continue
        apart = r["spread_ms"][1] < recipe["spread_ms"][0] or r["spread_ms"][0] > recipe["spread_ms"][1]
        ratio = recipe["ms"] / r["ms"]
        rows.append(
            [
                names.title(r["mixer"], r["variant"]),
                r["pass"],
                operands(r["backend"]),
                f"{r['L']:,}",
                units.ms(r["ms"]),
                units.ms(recipe["ms"]),
                (units.times(ratio), ("good" if ratio > 1 else "bad") if apart else ""),
                f"{r.get('launches_counted', 0):g} / {recipe.get('launches_counted', 0):g}",
                units.size(r["workspace"]),
                units.size(recipe["workspace"]),
            ]
        )
    if not rows:
        return ""
    head = ["mixer", "pass", "operands", "L", "time", "recipe", "faster by", "launches", "workspace", "recipe's"]
    return (
        '<h2>Kernels beside their recipes</h2><p class="soft">A recipe is the same mixer by cuBLAS products and '
        "elementwise kernels. Equal launches mean that no kernel took the work.</p>"
        f"<details><summary>{len(rows)} rows</summary><div class=\"card\">{table(head, rows, left=3)}</div></details>"
    )


def launches_section(results):
    """Planned launches, counted ones, nodes of the graph, and what launching costs."""
    counted = [r for r in results.rows.values() if is_gpu(r["backend"]) and r.get("launches_counted") is not None]
    if not counted:
        return ""
    rows = [
        [
            r["name"],
            f"{r['launches']:g}",
            (f"{r['launches_counted']:g}", "" if abs(r["launches_counted"] - r["launches"]) < 1e-6 else "bad"),
            f"{r.get('graph_nodes', 0):g}",
            units.ms(r["ms"]),
            units.ms(r["direct_ms"]) if r.get("direct_ms") else "–",
        ]
        for r in sorted(counted, key=lambda r: (r["mixer"], r["variant"], r["pass"], r["backend"], r["L"]))
    ]
    head = ["row", "planned", "counted", "nodes of the graph", "from the graph", "call by call"]
    return (
        '<h2>Launches</h2><p class="soft">Of one call, or of one token of a step. A product of cuBLAS is one launch of the '
        "plan, and one node or more of the graph. A recipe's plan does not know which products take an array of "
        "pointers, which is a launch more.</p>"
        f'<details><summary>{len(rows)} rows</summary><div class="card">{table(head, rows)}</div></details>'
    )


def method():
    return (
        "<p>On the GPU: times are of replays of a captured CUDA graph between two events, after a warm-up; a point is the "
        "median of 3 to 15 samples of at least a millisecond. Buffer sets of random numbers take turns, so many that they "
        "are twice the L2 cache; scratch is shared. Peers are timed in the same way in the same run: cuFFT and cuBLAS in the "
        "same process, directly between two measurements of ours; torch in a process of its own, eager and as a graph, the "
        "quicker of the two. A step is one token near the end of the sequence, the mean of 16.</p>"
    )


def device_facts(m):
    if not m.get("gpu"):
        return []
    return [
        ("GPU", f"{m['gpu']}, compute capability {m.get('capability')}, {m.get('multiprocessors')} multiprocessors"),
        ("GPU memory", f"{units.size(m.get('gpu_memory'))}, L2 {units.size(m.get('l2_bytes'))}"),
        ("CUDA", f"driver {m.get('cuda_driver')}, runtime {m.get('cuda_runtime')}"),
    ]


def yardstick_note(results, backend):
    best = product_rate(results, backend)
    return (
        f"100 % = {best:,.0f} GFLOP/s, the measured rate of an 8192 × 8192 × 8192 product of cuBLAS with "
        f"{esc(operands(backend))} operands."
    )
