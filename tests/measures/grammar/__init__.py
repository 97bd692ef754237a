"""Random small networks, written in all the ways that people write them.

A whole number gives a network, data and a loss, always the same. Sentences are drawn from
productions: each maps activations of one shape to another and says in words what it is. Networks
that break what measures take for granted carry a :data:`~tests.measures.grammar.sentence.Fault`.
"""

from tests.measures.grammar.case import GrammarCase, grammar_case
from tests.measures.grammar.sentence import Network

__all__ = ["GrammarCase", "Network", "grammar_case"]
