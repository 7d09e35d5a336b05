"""Where the files of a particle go."""


def particle_folder(index: int) -> str:
    """Name of the folder of a particle's files."""
    return f"particle_{index:02d}"
