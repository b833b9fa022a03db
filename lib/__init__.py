"""What the field knows: data, models, training, metrics, plots. Knows nothing of the workbook that uses it."""
