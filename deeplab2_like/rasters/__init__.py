# SPDX-License-Identifier: Apache-2.0
"""Images that need not fit in memory, read in windows.

`opening.open_large` opens a file; `source` says what is returned. Importing
this package imports neither TensorFlow nor a package that reads files.
"""
