"""The face to ASE: a potential that is fixed, and one that learns."""
