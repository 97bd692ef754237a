"""The files of a results folder: where each lies, what it holds, whether it is whole."""
