"""How answers are shown: charts in the terminal, plots in notebooks, figures in files."""
