"""Check of the machine when the workflow is read, before any job."""

from attnlag.config.schema import Config
from attnlag.errors import counted


def problems(config: Config) -> list[str]:
    """Return the problem of a device that the configuration asks for and this machine lacks.

    It is for runs whose jobs run here.
    """
    device = config.extraction.device
    if not device.startswith("cuda"):
        return []
    # It takes a second, which runs on other devices need not.
    import torch

    number = int(device.partition(":")[2] or 0)
    devices = torch.cuda.device_count()
    if number < devices:
        return []
    return [
        f"extraction.device: found {device}, but torch sees {counted(devices, 'GPU')} on this "
        "machine; expected auto, cpu, or a GPU that it sees (docs/gpu.md)"
    ]
