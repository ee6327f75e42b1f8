"""Networks that misbehave on purpose."""

from __future__ import annotations

from typing import Any

import requests
from requests.adapters import HTTPAdapter


class LosingAdapter(HTTPAdapter):
    """Carries every request, and while `loses_posts` keeps the answers to POST to itself."""

    def __init__(self) -> None:
        super().__init__()
        self.loses_posts = False

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Send as usual; the server has acted when the answer is thrown away."""
        response = super().send(request, *args, **kwargs)
        if self.loses_posts and request.method == "POST":
            response.close()
            raise requests.ReadTimeout("the answer was lost")
        return response
