"""A potential that trains itself inside any ASE simulation."""
