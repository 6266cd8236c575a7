"""What ``scripts/make_examples.py`` builds its data sets from: shapes, an abdomen, patients, pictures of cells."""
