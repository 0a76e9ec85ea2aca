"""``python -m simulator``: many seeds on all processors, or the story of one."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed

import click

from simulator import fixed

CHUNK = 20


@click.command()
@click.option("--seeds", default=2000, help="How many seeds, from --first on.")
@click.option("--first", default=0, help="The first seed.")
@click.option("--seed", type=int, help="Play this one only.")
@click.option("--story", is_flag=True, help="Tell what happens in --seed, with all log lines.")
@click.option("--workers", default=os.cpu_count() or 1, help="Processes.")
@click.option("--most", default=20, help="Stop after this many failing seeds.")
def main(seeds: int, first: int, seed: int | None, *, story: bool, workers: int, most: int) -> None:
    """Bad days on a virtual clock: real hub and agents, models of everything around them."""
    fixed.restart("simulator")
    failed = (
        play_one(seed, story=story)
        if seed is not None
        else play_many(range(first, first + seeds), workers=workers, most=most)
    )
    sys.exit(1 if failed else 0)


def play_one(seed: int, *, story: bool) -> bool:
    from simulator import logs
    from simulator.scenario import play

    logs.configure(story=story)
    verdict, journal = play(seed)
    if story:
        for line in journal.story():
            click.echo(line)
    for failure in verdict.failures:
        click.echo(f"FAILED {failure}")
    click.echo(
        f"seed {seed}: {len(verdict.failures)} failures, {verdict.took:.0f} virtual seconds,"
        f" {verdict.steps} steps, digest {verdict.digest}"
    )
    return bool(verdict.failures)


def play_many(seeds: range, *, workers: int, most: int) -> bool:
    from simulator.batch import end_with_parent, play_chunk

    began, played, failing, rules = time.monotonic(), 0, 0, Counter[str]()
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    with ProcessPoolExecutor(workers, initializer=end_with_parent) as pool:
        running = [pool.submit(play_chunk, chunk) for chunk in chunks]
        for done in as_completed(running):
            for verdict in done.result():
                played += 1
                if verdict.failures:
                    failing += 1
                    rules.update(verdict.rules)
                    click.echo(f"seed {verdict.seed}: {verdict.failures[0]}")
                    click.echo(f"  python -m simulator --seed {verdict.seed} --story")
            if failing >= most:
                pool.shutdown(cancel_futures=True)
                break
    seconds = time.monotonic() - began
    click.echo(f"{played} seeds in {seconds:.0f} s, {failing} failed {dict(rules) or ''}")
    return failing > 0


if __name__ == "__main__":
    main()
