"""The page of a run: from plain rows, facts and pictures to one self-contained HTML file.

Rows are those of the CSV tables as mappings; an undefined value is None.
"""
