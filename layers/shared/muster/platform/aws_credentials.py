"""The credentials AWS gives a function: in its environment or, under SnapStart, from an address on this machine."""

import json
from dataclasses import dataclass

from muster.platform.errors import SettingMissing

TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class AwsCredentials:
    """What requests are signed with."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None


@dataclass(frozen=True, slots=True)
class CredentialSource:
    """Where the credentials come from."""

    credentials: AwsCredentials | None = None
    url: str | None = None
    authorization: str | None = None

    def get(self) -> AwsCredentials:
        """The credentials of this moment.

        Raises:
            SettingMissing: there are none.
            OSError: the address does not answer.
        """
        if self.credentials is not None:
            return self.credentials
        if self.url is None:
            raise SettingMissing("AWS_ACCESS_KEY_ID")
        # Only a snapshot's functions come here.
        import urllib.request  # noqa: PLC0415 - as above

        headers = {"Authorization": self.authorization} if self.authorization else {}
        request = urllib.request.Request(self.url, headers=headers)  # noqa: S310 - Lambda's own environment names it
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310 - as above
            found = json.load(response)
        return AwsCredentials(found["AccessKeyId"], found["SecretAccessKey"], found.get("Token"))
