"""The AWS credentials of a function: from its environment or, under SnapStart, from a local endpoint."""

import json
from dataclasses import dataclass

from muster.platform.errors import SettingMissing

TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class AwsCredentials:
    """The credentials that sign requests to AWS."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None


@dataclass(frozen=True, slots=True)
class CredentialSource:
    """Fixed credentials, or the endpoint that serves the current ones."""

    credentials: AwsCredentials | None = None
    url: str | None = None
    authorization: str | None = None

    def get(self) -> AwsCredentials:
        """The current credentials.

        Raises:
            SettingMissing: there are none.
            OSError: the endpoint does not answer.
        """
        if self.credentials is not None:
            return self.credentials
        if self.url is None:
            raise SettingMissing("AWS_ACCESS_KEY_ID")
        # Imported late: only functions under SnapStart need it.
        import urllib.request  # noqa: PLC0415 - as above

        headers = {"Authorization": self.authorization} if self.authorization else {}
        request = urllib.request.Request(self.url, headers=headers)  # noqa: S310 - Lambda sets the URL
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310 - as above
            found = json.load(response)
        return AwsCredentials(found["AccessKeyId"], found["SecretAccessKey"], found.get("Token"))
