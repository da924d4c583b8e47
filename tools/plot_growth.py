"""docs/growth.svg from what `./x bench growth` wrote: time and memory against n, on log axes.

    python3 tools/plot_growth.py out/bench/growth.json docs/growth.svg        needs matplotlib 3.7
"""

import argparse
import json

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("growth", help="JSON of ./x bench growth")
    parser.add_argument("svg", help="the figure to write")
    arguments = parser.parse_args()
    with open(arguments.growth, encoding="utf-8") as file:
        studies = json.load(file)
    matplotlib.rcParams["svg.hashsalt"] = "gradflow"
    figure, (time, memory) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    for marker, (name, study) in zip("os", sorted(studies.items(), reverse=True)):
        n = [run["n"] for run in study["runs"]]
        label = f"{name} (slope of time {study['slope_from_8k']:.2f} from 8k on)"
        time.loglog(n, [run["seconds"]["best"] for run in study["runs"]], marker=marker, label=label)
        memory.loglog(n, [run["peak_bytes"] / 2**20 for run in study["runs"]], marker=marker)
    time.set(xlabel="n, rows", ylabel="seconds, 24 Krylov steps and 4 probes")
    memory.set(xlabel="n, rows", ylabel="peak memory, MiB")
    for axes in (time, memory):
        axes.grid(True, which="major", alpha=0.4)
    figure.legend(loc="outside upper center", fontsize=8)
    figure.savefig(arguments.svg, metadata={"Date": None})


if __name__ == "__main__":
    main()
