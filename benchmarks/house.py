"""Measures the structure of the code, without running it: ``python -m benchmarks.house``.

modules, lines: files of ``facesvc/``; loose: modules at its top beside packages; chain: most modules that import one
another in a row, imports inside functions too, a circle counted as one; circles: groups of modules that import one
another. signatures: a function's name with its parameters' names, at least two, that stands in three places or more.
Protocols: those that exactly one class of the product fits, by the names of its methods.
"""

import argparse
import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import grimp
import networkx as nx

ROOT = Path(__file__).parents[1]
OFTEN = 3


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--names", action="store_true", help="name the chain, the signatures and the Protocols, too")
    wants_names = parser.parse_args(arguments).names
    files = sorted((ROOT / "facesvc").rglob("*.py"))
    trees = {str(file.relative_to(ROOT)): ast.parse(file.read_text()) for file in files}
    imports = import_graph()
    found = {
        "modules": [],
        "modules in the longest import chain": nx.dag_longest_path(nx.condensation(imports)),
        "circles": [" ".join(sorted(circle)) for circle in circles(imports)],
        "loose modules": sorted(file.stem for file in (ROOT / "facesvc").glob("*.py") if file.stem[:2] != "__"),
        "signatures in three places or more": [f"{count} x {name}" for name, count in repeated(trees)],
        "Protocols with one implementation": sorted(single_protocols(trees)),
    }
    found["modules"] = list(trees)
    print(f"{sum(len(file.read_text().splitlines()) for file in files):>6}  lines of product code")
    chain = [names_of(imports, step) for step in found["modules in the longest import chain"]]
    for title, items in found.items():
        print(f"{len(items):>6}  {title}")
        if wants_names and title != "modules":
            print("".join(f"          {item}\n" for item in (chain if "chain" in title else items)), end="")


def import_graph() -> nx.DiGraph:
    """Return which module imports which."""
    built = grimp.build_graph("facesvc")
    graph = nx.DiGraph()
    graph.add_nodes_from(built.modules)
    graph.add_edges_from(
        (module, imported) for module in built.modules for imported in built.find_modules_directly_imported_by(module)
    )
    return graph


def circles(imports: nx.DiGraph) -> list[set[str]]:
    return [group for group in nx.strongly_connected_components(imports) if len(group) > 1]


def names_of(imports: nx.DiGraph, step: int) -> str:
    return " ".join(sorted(nx.condensation(imports).nodes[step]["members"]))


def repeated(trees: dict[str, ast.Module]) -> list[tuple[str, int]]:
    """Return signatures that stand in three places or more, the most frequent first."""
    counted = Counter(signature for tree in trees.values() for signature in signatures(tree))
    return [(signature, count) for signature, count in counted.most_common() if count >= OFTEN]


def signatures(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("__"):
            names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            given = [name for name in names if name not in ("self", "cls")]
            if len(given) > 1:
                yield f"{node.name}({', '.join(given)})"


def single_protocols(trees: dict[str, ast.Module]) -> Iterator[str]:
    """Yield each Protocol that exactly one class fits, with that class."""
    classes = {n.name: n for tree in trees.values() for n in ast.walk(tree) if isinstance(n, ast.ClassDef)}
    protocols = {name for name, node in classes.items() if "Protocol" in bases(node)}
    for protocol in protocols:
        wanted = members(classes, protocol)
        offered = {name: members(classes, name) | fields(classes[name]) for name in set(classes) - protocols}
        fitting = [name for name in offered if wanted and wanted <= offered[name]]
        if len(fitting) == 1:
            yield f"{protocol} ({fitting[0]})"


def bases(node: ast.ClassDef) -> set[str]:
    """Return the bases' names, without their type parameters."""
    heads = (base.value if isinstance(base, ast.Subscript) else base for base in node.bases)
    return {head.id for head in heads if isinstance(head, ast.Name)}


def members(classes: dict[str, ast.ClassDef], name: str) -> set[str]:
    """Return the methods of a class and of the bases that are classes of the product."""
    node = classes.get(name)
    if node is None:
        return set()
    own = {item.name for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)}
    return own.union(*(members(classes, base) for base in bases(node)))


def fields(node: ast.ClassDef) -> set[str]:
    """Return the names that the class or its methods annotate or assign."""
    assigned = {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)}
    return assigned | {
        n.target.id for n in ast.walk(node) if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
    }


if __name__ == "__main__":
    main()
