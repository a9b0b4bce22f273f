"""What each backend needs of us: database drivers, S3 connections."""
