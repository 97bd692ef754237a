"""The files of a results folder: locations, contents and integrity checks."""
