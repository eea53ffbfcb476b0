"""The head of a fusion pack: a linear layer from several networks' vectors to the 128 numbers of a template.

features (``training.features``) -> moments -> baselines, or rotation -> triplets -> placing at 1.1 -> the shipped head.
"""
