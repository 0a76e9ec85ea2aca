"""The one importer of paho: a ``Link`` whose sockets hang on the running asyncio loop.

One paho client per connection, so no state of an old connection leaks into the next. TCP connect
and TLS handshake run in a thread (paho does them blocking); everything after is on the loop. What
other clients put into a message ends no connection. The socket is tuned for few segments
(``tcp.py``); topics are sent once and then as aliases.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties, VariableByteIntegers
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from shared import broker_access, tcp
from shared.codec import MAX_WIRE
from shared.errors import LinkError, PermanentError, TooLarge
from shared.link import Broker, Connection, ConnectOptions, Message, PublishRefused, Subscription
from shared.threads import in_own_thread
from shared.topic_aliases import TopicAliases

CONNECT_TIMEOUT = 15.0
TEMPORARY_REFUSALS = frozenset({0x83, 0x88, 0x89, 0x93, 0x96, 0x97})
"""Implementation error, server unavailable or busy, receive maximum, rate, quota."""
LOGIN_REFUSALS = frozenset({0x86, 0x87})
"""Bad user name or password, not authorized."""
OVERHEAD = 64
"""Of a PUBLISH: fixed header, packet id and our properties: more than they can take."""


class PahoLink:
    """A broker to connect to; see ``shared.link.Link``."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    @asynccontextmanager
    async def connect(self, options: ConnectOptions) -> AsyncIterator[Connection]:
        connection = _PahoConnection(self._broker, options)
        try:
            await connection.open()
            yield connection
        finally:
            await connection.close()


class _PahoConnection:
    def __init__(self, broker: Broker, options: ConnectOptions) -> None:
        self.session_present = False
        self.max_packet_size = MAX_WIRE
        self._broker = broker
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._incoming: asyncio.Queue[Message | LinkError] = asyncio.Queue()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._connected: asyncio.Future[None] = self._loop.create_future()
        self._ended: LinkError | None = None
        self._misc: asyncio.TimerHandle | None = None
        self._socket: Any = None
        self._aliases = TopicAliases()
        self._client = self._make_client()

    # -- opening and closing

    def _make_client(self) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._options.client_id,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.suppress_exceptions = False
        client.max_queued_messages_set(0)
        client.connect_timeout = CONNECT_TIMEOUT
        client.on_socket_open = self._on_socket_open
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = self._on_register_write
        client.on_socket_unregister_write = self._on_unregister_write
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_unsubscribe = self._on_unsubscribe
        if will := self._options.will:
            properties = _properties(PacketTypes.WILLMESSAGE)
            properties.WillDelayInterval = will.delay
            client.will_set(will.topic, will.payload, qos=1, retain=True, properties=properties)
        return client

    async def open(self) -> None:
        try:
            await in_own_thread(self._connect_blocking, name="connect")
        except (OSError, ValueError) as error:
            raise LinkError(f"{self._broker}: {broker_access.why(error)}") from error
        self._misc = self._loop.call_later(1, self._tick)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await asyncio.shield(self._connected)
        except TimeoutError as error:
            raise LinkError(f"{self._broker}: no CONNACK in {CONNECT_TIMEOUT:.0f} s") from error

    def _connect_blocking(self) -> None:
        if self._broker.tls:
            self._client.tls_set_context(broker_access.tls(self._broker))
        if self._broker.username:
            self._client.username_pw_set(
                self._broker.username, broker_access.password(self._broker)
            )
        properties = _properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = self._options.session_expiry
        properties.ReceiveMaximum = self._options.receive_maximum
        properties.MaximumPacketSize = MAX_WIRE + 1024
        self._client.connect(
            self._broker.host,
            self._broker.port,
            keepalive=self._options.keep_alive,
            clean_start=self._options.clean_start,
            properties=properties,
        )

    async def close(self) -> None:
        if self._misc is not None:
            self._misc.cancel()
        if self._ended is None:
            self._end(LinkError("disconnected"))
            self._client.disconnect()
            # paho only queues it; unsent, the broker would publish the Will.
            self._client.loop_write()
        if self._connected.done() and not self._connected.cancelled():
            self._connected.exception()
        # Callbacks that the connecting thread queued run before the socket's place is reused.
        await asyncio.sleep(0)
        sock = self._client.socket()
        self._forget_socket()
        self._client.on_socket_close = None
        self._client.on_socket_unregister_write = None
        # paho leaves the socket open when the DISCONNECT itself could not be sent.
        if sock is not None:
            sock.close()

    def _end(self, reason: LinkError) -> None:
        if self._ended is not None:
            return
        self._ended = reason
        if not self._connected.done():
            self._connected.set_exception(reason)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(reason)
        self._waiting.clear()
        self._incoming.put_nowait(reason)

    # -- what callers use

    async def subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        asked = [(one.filter, _options(one)) for one in subscriptions]
        await self._acknowledged(*self._client.subscribe(asked))

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        await self._acknowledged(*self._client.unsubscribe(list(filters)))

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        expiry: int | None = None,
        response_topic: str = "",
        correlation: bytes = b"",
    ) -> Awaitable[None]:
        size = len((topic + response_topic).encode()) + len(payload) + len(correlation) + OVERHEAD
        if size > self.max_packet_size:
            raise TooLarge(f"{topic}: {size} bytes, the broker takes {self.max_packet_size}")
        name, alias = self._aliases.of(topic)
        properties = _publish_properties(expiry, response_topic, correlation, alias)
        sent = self._client.publish(name, payload, qos=1, retain=retain, properties=properties)
        if sent.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            # Not sent: to the broker its alias is still another topic's.
            self._end(LinkError(f"{self._broker}: not sent: {paho.error_string(sent.rc)}"))
        return self._acknowledged(sent.rc, sent.mid)

    async def messages(self) -> AsyncIterator[Message]:
        while True:
            item = await self._incoming.get()
            if isinstance(item, LinkError):
                raise item
            yield item

    def ack(self, message: Message) -> None:
        if self._ended is None and message.packet_id:
            self._client.ack(message.packet_id, 1)

    def _acknowledged(self, code: MQTTErrorCode, packet_id: int | None) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()
        # Nobody has to await a publish: its failure is also the connection's end.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        if self._ended is not None:
            future.set_exception(self._ended)
        elif code != MQTTErrorCode.MQTT_ERR_SUCCESS or packet_id is None:
            future.set_exception(LinkError(paho.error_string(code)))
        else:
            self._waiting[packet_id] = future
        return future

    def _settle(self, packet_id: int, error: Exception | None = None) -> None:
        future = self._waiting.pop(packet_id, None)
        if future is None or future.done():
            return
        future.set_result(None) if error is None else future.set_exception(error)

    # -- paho's callbacks; the socket ones may come from the connecting thread

    def _on_socket_open(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        tcp.send_at_once(sock)
        self._on_loop(self._watch_socket, sock)

    def _on_loop(self, call: Callable[[Any], None], sock: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(call, sock)
        except RuntimeError:  # The loop has ended before a slow connect did.
            sock.close()

    def _watch_socket(self, sock: Any) -> None:
        if self._ended is not None:  # Nobody waited so long.
            sock.close()
        if sock.fileno() < 0:
            return
        self._socket = sock
        self._loop.add_reader(sock, self._readable)
        self._loop.add_writer(sock, self._writable)

    def _on_socket_close(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        if self._socket is sock:
            self._forget_socket()

    def _forget_socket(self) -> None:
        if self._socket is not None and self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
        self._socket = None

    def _on_register_write(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        self._on_loop(self._watch_writes, sock)

    def _watch_writes(self, sock: Any) -> None:
        if sock is self._socket and sock.fileno() >= 0:
            self._loop.add_writer(sock, self._writable)

    def _on_unregister_write(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        self._on_loop(self._unwatch_writes, sock)

    def _unwatch_writes(self, sock: Any) -> None:
        if sock is self._socket and sock.fileno() >= 0 and not self._client.want_write():
            self._loop.remove_writer(sock)

    def _readable(self) -> None:
        try:
            self._client.loop_read()
            # TLS may hold more bytes than the one packet; the socket would not tell again.
            while isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
                self._client.loop_read()
        except Exception as error:
            # paho keeps such a packet, and would be told of it for ever.
            self._forget_socket()
            self._end(LinkError(f"{self._broker}: what came cannot be read: {error!r}"))
        tcp.acknowledge_with_answer(self._socket)

    def _writable(self) -> None:
        with tcp.corked(self._socket):
            self._client.loop_write()
        tcp.acknowledge_with_answer(self._socket)

    def _tick(self) -> None:
        """Keep-alive: paho sends PINGREQ and notices a missing PINGRESP. No error ends it."""
        if self._ended is None:
            self._misc = self._loop.call_later(1, self._tick)
            self._client.loop_misc()
            tcp.acknowledge_with_answer(self._socket)

    def _on_connect(
        self, client: paho.Client, userdata: Any, flags: Any, code: ReasonCode, properties: Any
    ) -> None:
        if code.is_failure:
            hint = f"; check {self._broker.login}" if code.value in LOGIN_REFUSALS else ""
            self._end(LinkError(f"{self._broker}: connection refused: {code}{hint}", delay=5.0))
            return
        self.session_present = bool(flags.session_present)
        self.max_packet_size = min(getattr(properties, "MaximumPacketSize", MAX_WIRE), MAX_WIRE)
        self._aliases = TopicAliases(getattr(properties, "TopicAliasMaximum", 0))
        if not self._connected.done():
            self._connected.set_result(None)

    def _on_disconnect(
        self, client: paho.Client, userdata: Any, flags: Any, code: ReasonCode, properties: Any
    ) -> None:
        told = flags.is_disconnect_packet_from_server or code == "Keep alive timeout"
        why = f": {code}" if told else ""  # A closed socket tells nothing.
        self._end(LinkError(f"{self._broker}: connection lost{why}"))

    def _on_message(self, client: paho.Client, userdata: Any, message: Any) -> None:
        properties = message.properties
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""  # Of nobody: it is rejected like any other that is not of ours.
        self._incoming.put_nowait(
            Message(
                topic=topic,
                payload=bytes(message.payload),
                retained=message.retain,
                packet_id=message.mid,
                response_topic=getattr(properties, "ResponseTopic", ""),
                correlation=getattr(properties, "CorrelationData", b""),
            )
        )

    def _on_publish(
        self, client: paho.Client, userdata: Any, mid: int, code: ReasonCode, properties: Any
    ) -> None:
        error: Exception | None = None
        if code.value in TEMPORARY_REFUSALS:
            error = LinkError(f"publish refused for now: {code}")
        elif code.is_failure:
            error = PublishRefused(f"publish refused: {code}")
        # paho calls back before its publish() returned when the answer is that quick.
        self._loop.call_soon(self._settle, mid, error)

    def _on_subscribe(
        self, client: paho.Client, userdata: Any, mid: int, codes: list[ReasonCode], p: Any
    ) -> None:
        refused = [str(code) for code in codes if code.is_failure]
        error = PermanentError(f"subscription refused: {refused[0]}") if refused else None
        self._loop.call_soon(self._settle, mid, error)

    def _on_unsubscribe(
        self, client: paho.Client, userdata: Any, mid: int, codes: list[ReasonCode], p: Any
    ) -> None:
        self._loop.call_soon(self._settle, mid)


_unpack = Properties.unpack


def _unpack_what_can_be(properties: Any, packet: bytes) -> tuple[Any, int]:
    """paho ends the connection over what it does not like in properties, and the broker passes on
    whatever a device put there, again at every subscription. So those of a message that cannot be
    read are none."""
    try:
        return _unpack(properties, packet)  # type: ignore[no-untyped-call,no-any-return]
    except Exception:
        if properties.packetType != PacketTypes.PUBLISH:
            raise
        properties.clear()
        size, before = VariableByteIntegers.decode(packet)  # type: ignore[no-untyped-call]
        return properties, size + before


Properties.unpack = _unpack_what_can_be  # type: ignore[method-assign]


def _properties(packet: int) -> Any:
    return Properties(packet)  # type: ignore[no-untyped-call]


def _publish_properties(
    expiry: int | None, response_topic: str, correlation: bytes, alias: int | None
) -> Any:
    given = {
        "TopicAlias": alias,
        "MessageExpiryInterval": expiry,
        "ResponseTopic": response_topic or None,
        "CorrelationData": correlation or None,
    }
    properties = _properties(PacketTypes.PUBLISH)
    for name, value in given.items():
        if value is not None:
            setattr(properties, name, value)
    return None if properties.isEmpty() else properties


def _options(subscription: Subscription) -> SubscribeOptions:
    return SubscribeOptions(
        qos=1, noLocal=subscription.no_local, retainHandling=subscription.retain_handling
    )
