"""What becomes of the marks: verdicts, nbgrader's gradebook, feedback pages, exports."""
