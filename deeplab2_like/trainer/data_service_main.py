# SPDX-License-Identifier: Apache-2.0
"""Starts a process of a tf.data service, which prepares training batches.

    deeplab2-data-service --role=dispatcher --port=5050 --work_dir=FOLDER
    deeplab2-data-service --role=worker --dispatcher=HOST:5050

One dispatcher, and a worker on each machine that is to prepare batches. They
need to see the records under the names that the config has. Trainings use them
with train_dataset_options { data_service_address: "HOST:5050" }. Workers
may be killed and added meanwhile. A dispatcher that is started again with the
same --port and --work_dir continues.
"""

import signal
import socket
from collections.abc import Sequence

from absl import flags

from deeplab2_like import errors
from deeplab2_like.config import network_addresses
from deeplab2_like.console import native_logs, path_flags, program

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_ROLE = flags.DEFINE_enum(
    "role",
    None,
    ("dispatcher", "worker"),
    "What to start. Required.",
    flag_values=_FLAGS,
)
_PORT = flags.DEFINE_integer(
    "port",
    None,
    "Port to listen at. The default is 5050 for a dispatcher, and a free one "
    "for a worker.",
    lower_bound=0,
    upper_bound=65535,
    flag_values=_FLAGS,
)
_DISPATCHER = flags.DEFINE_string(
    "dispatcher",
    None,
    "HOST:PORT of the dispatcher. Required for a worker.",
    flag_values=_FLAGS,
)
_HOST = flags.DEFINE_string(
    "host",
    None,
    "Name or address under which trainings reach this worker. The default is "
    "the name of the machine.",
    flag_values=_FLAGS,
)
_WORK_DIR = path_flags.define(
    "work_dir",
    None,
    "Folder in which a dispatcher keeps its state, so that it can be started "
    "again. Required for a dispatcher.",
    flag_values=_FLAGS,
)


def _main(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    role = program.require(_ROLE, "dispatcher or worker", "dispatcher")
    is_dispatcher = role == "dispatcher"
    place = (
        program.require(_WORK_DIR, "a folder for its state", "dispatcher")
        if is_dispatcher
        else program.require(_DISPATCHER, "its address", "host:5050")
    )
    if not is_dispatcher:
        _check_address(place)
    native_logs.load_tensorflow()
    import tensorflow as tf

    # Python would answer only when TensorFlow returns, which it does not.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        server = (
            _start_dispatcher(tf, place)
            if is_dispatcher
            else _start_worker(tf, place)
        )
    except tf.errors.OpError as error:
        raise errors.ConfigError(
            f"The {role} cannot start ({error.message.splitlines()[0][:200]})."
            " Give a --port that no other program uses."
        ) from error
    server.join()


def _check_address(address: str) -> None:
    if network_addresses.split(address) is None:
        raise errors.ConfigError(
            f"--dispatcher={address} is not of the form HOST:PORT, for example "
            "host:5050."
        )


def _start_dispatcher(tf, work_dir: str):
    service = tf.data.experimental.service
    port = 5050 if _PORT.value is None else _PORT.value
    server = service.DispatchServer(
        service.DispatcherConfig(
            port=port, work_dir=work_dir, fault_tolerant_mode=True
        )
    )
    target = server.target.rpartition(":")[2]
    print(f"Dispatcher at port {target}, state in {work_dir}.", flush=True)
    return server


def _start_worker(tf, dispatcher: str):
    service = tf.data.experimental.service
    host = _HOST.value or socket.gethostname()
    port = _PORT.value or _find_free_port()
    server = service.WorkerServer(
        service.WorkerConfig(
            dispatcher_address=dispatcher,
            worker_address=f"{host}:{port}",
            port=port,
        )
    )
    print(f"Worker {host}:{port} of dispatcher {dispatcher}.", flush=True)
    return server


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def cli() -> None:
    """Starts a dispatcher or worker (command deeplab2-data-service)."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
