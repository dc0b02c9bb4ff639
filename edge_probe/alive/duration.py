"""How long something lasted, for people, in at most six characters."""


def text_of(duration_s: float) -> str:
    """``8s``, ``5min``, ``3h20``, ``12d03h`` or ``9999d``; never longer than the truth.

    Parameters
    ----------
    duration_s : float
        Negative counts as 0.
    """
    seconds = int(max(0.0, duration_s))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if minutes == 0:
        return f"{seconds}s"
    if hours == 0:
        return f"{minutes}min"
    if days == 0:
        return f"{hours}h{minutes % 60:02d}"
    if days < 100:
        return f"{days}d{hours % 24:02d}h"
    return f"{min(days, 99_999)}d"
