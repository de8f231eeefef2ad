"""The verbs of the command line, a file each. They import what they use inside, so that starting costs nothing."""
