"""The paper's offline learning curves: resumable, one record a step, with figures and tables."""
