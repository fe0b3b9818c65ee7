"""What people look at: pictures drawn from results, fit for a paper.

Each module draws one kind of figure and depends on Pillow only; import the one that is needed.
"""
