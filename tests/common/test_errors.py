from ase_bmdal.common import errors


def test_every_error_is_one_of_ours():
    own = [each for each in vars(errors).values() if isinstance(each, type)]
    assert all(issubclass(each, errors.Error) and each.__doc__ for each in own)
    assert all(each.__name__ in errors.__doc__ for each in own)
