"""Progress of long calls by tqdm, when asked."""

import contextlib


class _Bar:
    """One bar whose label is the stage."""

    def __init__(self, bar):
        self.bar = bar

    def __call__(self, stage, fraction):
        self.bar.set_description_str(stage, refresh=False)
        self.bar.n = round(1000 * fraction)
        self.bar.refresh()


@contextlib.contextmanager
def progress(verbose):
    """What the library calls with (stage, fraction); None unless verbose. Needs tqdm then."""
    if not verbose:
        yield None
        return
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError("verbose needs tqdm: pip install tqdm") from error
    with tqdm(total=1000, bar_format="{desc} |{bar}| {percentage:3.0f} % {elapsed}", leave=False) as bar:
        yield _Bar(bar)
