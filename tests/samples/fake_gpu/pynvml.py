"""NVML with one GPU whose clock rises once it works."""

from pathlib import Path

NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 0, 1, 2
_READINGS = iter((345, *[1980] * 100))


def nvmlInit():
    assert Path(__file__).name == "pynvml.py"


def nvmlShutdown():
    pass


def nvmlDeviceGetHandleByIndex(index):
    return index


def nvmlDeviceGetName(gpu):
    return "Fake GPU"


def nvmlSystemGetDriverVersion():
    return "1.2"


def nvmlDeviceGetClockInfo(gpu, kind):
    return next(_READINGS) if kind == NVML_CLOCK_SM else 2619


def nvmlDeviceGetTemperature(gpu, kind):
    return 40


def nvmlDeviceGetCurrentClocksEventReasons(gpu):
    return 0x4
