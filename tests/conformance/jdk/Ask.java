import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;

/** Asks 100 times, as a program does that uses the JDK's client as it is: it prefers HTTP/2, and so offers h2c. */
class Ask {
    public static void main(String[] arguments) throws Exception {
        var client = HttpClient.newHttpClient();
        var request = HttpRequest.newBuilder(URI.create(arguments[0])).build();
        for (int number = 0; number < 100; number++) {
            var answer = client.send(request, BodyHandlers.ofByteArray());
            if (answer.statusCode() != 200 || answer.version() != HttpClient.Version.HTTP_1_1) {
                throw new IllegalStateException(number + ": " + answer + " " + answer.version());
            }
        }
        System.out.println("ok");
        // The caller counts connections while this one is there.
        System.in.read();
    }
}
