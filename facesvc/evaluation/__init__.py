"""How good are the decisions? Labelled pairs go in, error rates come out."""
