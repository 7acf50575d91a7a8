"""Projects, their settings and keys, and the actions of the function migrate."""
