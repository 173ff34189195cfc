"""The classroom kit: one folder with wheels, models, data and labs, that installs without internet.

`make.make_bundle` fills the folder, `contents` says what is in it and whether it is whole, `serve` gives it to a class on
the local network. `installer.py` is copied into the folder as install.py; it runs where nothing is installed yet.
"""

from leaplm.bundle.contents import BundleError, read_contents, verify
from leaplm.bundle.make import make_bundle

__all__ = ["BundleError", "make_bundle", "read_contents", "verify"]
