"""A gallery as a Lance dataset: for many servers at once, on local disks or in an object store.

Nothing here is imported before a path ends in ``.lance``; pylance and pyarrow come with it.
"""
