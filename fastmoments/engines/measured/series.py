"""Where a directed graph is in series: the nodes that all paths from its source to its sinks pass through."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def between(before: Sequence[Collection[int]], source: int, sinks: Collection[int]) -> list[int]:
    """The nodes on any path from the source to a sink, in order.

    Parameters
    ----------
    before : sequence of collections of int
        Of every node those it is made of, which have smaller numbers.
    source : int
    sinks : collection of int
    """
    reached = [node == source for node in range(len(before))]
    for node, made_of in enumerate(before):
        reached[node] = reached[node] or any(reached[each] for each in made_of)
    needed = [node in set(sinks) for node in range(len(before))]
    for node in reversed(range(len(before))):
        if needed[node]:
            for each in before[node]:
                needed[each] = True
    return [node for node in range(len(before)) if reached[node] and needed[node]]


def in_series(before: Sequence[Collection[int]], source: int, sinks: Collection[int]) -> list[int]:
    """The nodes through which every path from the source to any sink passes, in order.

    A node is one of them if nothing goes past it: no edge from a smaller number to a larger one. The source
    is one always; so is the sink if it is alone.

    Parameters
    ----------
    before, source, sinks
        As for `between`.
    """
    nodes = between(before, source, sinks)
    relevant, ends = set(nodes), len(before)
    reach = dict.fromkeys(nodes, 0)  # the last node that is made of one
    for node in nodes:
        for each in relevant.intersection(before[node]):
            reach[each] = node
    if len(relevant.intersection(sinks)) > 1:  # an end of its own behind them
        reach |= dict.fromkeys(relevant.intersection(sinks), ends)
    found, farthest = [], source
    for node in nodes:
        if farthest <= node:
            found.append(node)
        farthest = max(farthest, reach[node])
    return found
