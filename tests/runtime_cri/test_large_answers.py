"""An answer of a runtime takes no more memory than a kubelet's: a container decides its size."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeagent.runtime.cri_channel import LARGEST_ANSWER
from edgeagent.runtime.cri_messages import cri
from edgeagent.runtime.port import RuntimeAway
from shared.errors import TemporaryError
from tests.runtime_cri.test_as_in_cri_o import PlayedCriO, playing


async def test_the_output_of_a_command_has_a_limit_and_the_connection_outlives_it(
    tmp_path: Path,
) -> None:
    played = PlayedCriO()
    async with playing(played, tmp_path) as runtime:
        for _ in range(3):
            played.answers["ExecSync"] = cri.ExecSyncResponse(stdout=b"x" * LARGEST_ANSWER)
            with pytest.raises(TemporaryError, match="larger than max") as raised:
                await runtime.exec_sync("c", ["cat", "/dev/zero"], 10)
            assert not isinstance(raised.value, RuntimeAway)
        large = LARGEST_ANSWER - 1024
        played.answers["ExecSync"] = cri.ExecSyncResponse(stdout=b"x" * large)
        assert len((await runtime.exec_sync("c", ["cat"], 10)).stdout) == large
