# SPDX-License-Identifier: Apache-2.0
"""What the run ran on. Linux; what cannot be found is left out."""

import glob
import os
import platform
import re
import subprocess


def _read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read().strip()
    except OSError:
        return ""


def _caches():
    sizes = {}
    for index in sorted(glob.glob("/sys/devices/system/cpu/cpu0/cache/index*")):
        level, kind, size = (_read(f"{index}/{n}") for n in ("level", "type", "size"))
        if level and kind in ("Data", "Unified"):
            sizes[f"L{level}"] = size.replace("K", " KiB").replace("M", " MiB")
    return sizes


def _simd(flags):
    have = set(flags.split())
    for names, label in ((("avx512f", "avx512dq"), "AVX-512"), (("avx2", "fma"), "AVX2"), (("avx",), "AVX")):
        if have.issuperset(names):
            return label
    return "SSE2" if "sse2" in have else platform.machine()


def describe():
    info = _read("/proc/cpuinfo")

    def field(name):
        found = re.search(rf"^{name}\s*:\s*(.+)$", info, re.MULTILINE)
        return found.group(1).strip() if found else ""

    out = {
        "cpu": field("model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "simd": _simd(field("flags")),
        "caches": _caches(),
        "kernel": platform.release(),
    }
    family = [field(n) for n in ("vendor_id", "cpu family", "model")]
    if all(family):
        out["cpu_id"] = f"{family[0]} family {family[1]} model {family[2]}"
    memory = re.search(r"MemTotal:\s*(\d+) kB", _read("/proc/meminfo"))
    if memory:
        out["memory_gib"] = round(int(memory.group(1)) / 2**20, 1)
    system = re.search(r'^PRETTY_NAME="?([^"\n]+)', _read("/etc/os-release"), re.MULTILINE)
    if system:
        out["system"] = system.group(1)
    governor = _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    if governor:
        out["governor"] = governor
    if "hypervisor" in field("flags").split():
        out["virtual"] = True
    return out


def available_bytes():
    found = re.search(r"MemAvailable:\s*(\d+) kB", _read("/proc/meminfo"))
    return int(found.group(1)) * 1024 if found else 0


class Others:
    """How many cores, on average since it was made, ran something that was not us or a process we have waited for."""

    def __init__(self):
        self.before = self._now()

    @staticmethod
    def _now():
        fields = [int(n) for n in _read("/proc/stat").split("\n")[0].split()[1:9]] or [0] * 8
        busy = sum(fields) - fields[3] - fields[4]  # without idle and waiting for disks; stolen time counts
        t = os.times()
        ours = t.user + t.system + t.children_user + t.children_system
        return busy / os.sysconf("SC_CLK_TCK") - ours, t.elapsed

    def cores(self):
        (others, now), (others_then, then) = self._now(), self.before
        return max(0.0, (others - others_then) / (now - then)) if now > then else 0.0


def commit(root):
    """The commit of a checkout, '+' behind it when tracked files differ; '' outside a checkout."""

    def git(*words):
        try:
            done = subprocess.run(["git", "-C", root, *words], capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    head = git("rev-parse", "--short=12", "HEAD")
    return head + ("+" if head and git("status", "--porcelain", "--untracked-files=no") else "")
