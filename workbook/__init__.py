"""What makes notebooks a workbook: records, profiles, kept trainings, shared models."""
