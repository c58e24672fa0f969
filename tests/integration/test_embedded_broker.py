"""The fixtures that integration tests stand on."""

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tests.support.eventually import eventually


async def test_a_record_comes_back(broker: str, topic: str) -> None:
    """What is produced to the embedded broker is consumed with its key, value and headers."""
    async with AIOKafkaProducer(bootstrap_servers=broker) as producer:
        await producer.send_and_wait(topic, b"value", key=b"key", headers=[("name", b"x")])
    async with AIOKafkaConsumer(topic, bootstrap_servers=broker, auto_offset_reset="earliest") as consumer:
        record = await eventually(consumer.getone)
    assert (record.key, record.value, record.headers) == (b"key", b"value", (("name", b"x"),))
