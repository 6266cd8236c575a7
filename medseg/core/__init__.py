"""Records and rules that every stage shares; needs numpy, never torch."""
