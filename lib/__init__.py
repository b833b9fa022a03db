"""Shared code of the workbook's notebooks: data, models, training, metrics, plots, results."""
